"""One thin-plate spline through the facial landmarks: no parameters, no training, and a hard baseline to beat."""
