"""What people see: pages, forms and the stories that cross apps."""
