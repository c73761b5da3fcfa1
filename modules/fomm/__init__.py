"""First-order motion model (FOMM, NeurIPS 2019) and its facial priors (FPB-FOMM, MM 2021; AWP, TIP 2024)."""
