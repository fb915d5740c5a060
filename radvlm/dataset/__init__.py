"""What models are trained and tested on: vocabularies, sentences, questions, and readers of corpora."""
