"""Builds the training set: functions, their earlier versions, triplets and views."""
