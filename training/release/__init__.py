"""What a pair needs to be published: the gate, the card, the signature."""
