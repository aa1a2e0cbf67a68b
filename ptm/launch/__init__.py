"""`ptm launch`: DeepSpeed's launcher, checked before, stopped gently, and explained afterwards."""
