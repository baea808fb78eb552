"""Making a trained mixture of experts smaller."""
