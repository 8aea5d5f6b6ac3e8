"""How far an attribution can be trusted: calibration, checks on time not seen, intervals, remarks."""
