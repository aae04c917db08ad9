"""What a person looks at: figures, the HTML report, the model card."""
