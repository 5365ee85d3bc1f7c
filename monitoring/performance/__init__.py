"""The performance monitor: looks at the samples of runners, recommends what to do, and does what it may."""
