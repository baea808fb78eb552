"""What the world knew at that time: `Document`, `Evidence`, `EvidenceStore`, `Source`."""
