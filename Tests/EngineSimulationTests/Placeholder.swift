// Placeholder; the target's files replace it.
