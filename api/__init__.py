"""An HTTP API in OpenAI's form beside the page: any client of it asks base models, checkpoints, mixes and plans."""
