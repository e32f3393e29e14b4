"""Images to train on, as arrays; nothing here needs torch."""
