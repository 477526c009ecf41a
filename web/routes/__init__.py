"""The pages: each module answers the paths of one of them."""
