"""Azure Event Grid: the messages it sends, and the webhook that receives them."""
