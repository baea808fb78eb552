"""What `weighup watch` reads: feeds, folders and lines, politely polled, freed of copies, gathered into stories."""
