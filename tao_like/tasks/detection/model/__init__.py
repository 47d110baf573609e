"""Networks that find objects. Plain torch: no spec, no Lightning."""
