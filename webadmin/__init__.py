"""The face of the house: what people see of the machine facts, and what they decide."""
