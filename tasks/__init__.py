"""Questions asked of a backbone: classification, retrieval, out-of-distribution; and the datasets they are asked on."""
