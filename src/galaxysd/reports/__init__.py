"""Reports: HTML pages, contact sheets and figures."""
