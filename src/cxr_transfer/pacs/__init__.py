"""Answers in the hospital: received as DICOM images, given back as DICOM objects."""
