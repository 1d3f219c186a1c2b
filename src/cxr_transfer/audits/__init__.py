"""Why a model's figure may be undeserved, looked for in its images and in the network."""
