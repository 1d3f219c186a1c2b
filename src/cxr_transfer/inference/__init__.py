"""A trained network answers: an image in, class scores out, without torch once it is converted."""
