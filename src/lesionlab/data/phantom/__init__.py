"""Generated lesions, of no patient, in HAM10000's layout."""
