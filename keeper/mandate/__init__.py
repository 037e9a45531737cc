"""Actions wrapped as what the signer may send."""
