"""Types that flow between steps: frozen, valid once made, and free of files, prints and pictures."""
