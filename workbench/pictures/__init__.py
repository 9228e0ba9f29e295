"""The parts of the page Pictures."""
