"""What a community's people have answered: survey files, and the record that is made of one and searched."""
