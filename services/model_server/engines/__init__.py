"""What computes: one module per engine, all behind the same small `Engine`."""
