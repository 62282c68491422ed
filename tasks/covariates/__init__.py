"""Covariates of regions: read from files, stored beside the loads, read again by who computes."""
