"""DICOM: files → frames → stacks → named images of a BIDS dataset, and maps back: all that knows its tags."""
