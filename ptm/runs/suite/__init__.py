"""`ptm suite`: fine-tunes one model on several tasks, each with several seeds, to one table."""
