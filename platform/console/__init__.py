"""The building blocks of the console: base admins, keyset lists, versioned forms, confirmation, navigation, guide."""
