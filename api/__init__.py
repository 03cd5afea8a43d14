"""An HTTP API in OpenAI's form: any client of it asks base models, checkpoints, mixes and plans."""
