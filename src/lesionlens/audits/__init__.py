"""Tests of what a decision rests on: occlusion, weight randomisation, shortcuts."""
