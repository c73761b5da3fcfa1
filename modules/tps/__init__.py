"""Thin-plate-spline motion model (TPSMM, CVPR 2022) and its relative action-unit variant (FMEG-TPSRAU, MM 2022)."""
