"""The matching network and its embeddings. Depends on torch and torchvision alone."""
