"""The operations on deployments: begin, promote, hold, go back; who moves sessions after; what is measured of them."""
