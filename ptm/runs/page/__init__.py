"""The page of `ptm report`: its data, charts, sections and the server of `--live`."""
