"""People's own storage elsewhere: clients that know no models and no users."""
