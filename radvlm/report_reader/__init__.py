"""Report text to statements: which findings it mentions, with side, place, size, status and change."""
