"""Any timm model and any plugin's network, built for images of any size."""
