"""What requests and answers are made of, each dialect in a file: bytes -> checked values, values -> bytes. No I/O."""
