"""Rating pairs: what lies before the person, answers that count once, a model that follows, pairs chosen ahead."""
