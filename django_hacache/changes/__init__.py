"""What a cache can be asked to change: the words, free of how a change is carried out."""
