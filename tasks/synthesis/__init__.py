"""What generated speech says, and with which voices."""
