"""DICOM: series in, maps out; the only place that knows its tags and codes."""
