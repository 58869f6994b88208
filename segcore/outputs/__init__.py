"""What a run leaves for people and other programs: submission, report, exports."""
