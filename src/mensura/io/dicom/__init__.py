"""DICOM in: files → frames → stacks → named images of a BIDS dataset. The only room that reads DICOM."""
