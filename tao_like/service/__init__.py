"""tao_like as a service: a REST API in the shape of TAO's version 2, a page in the browser, and a client."""
