"""Reports of many finished runs: tables of systems, robustness and trials, and the results page."""
